//! A typed conversation without tools, for the commands `run` and `chat`.

use super::{Conversation, Effort, EffortTable, Prompt, ThinkingMode};
use crate::error::Result;
use serde_json::json;

/// A conversation without tools.
#[derive(Clone, Debug)]
pub struct Chat {
    /// The system text, if any.
    pub system: Option<String>,
    /// The turns so far, the newest last.
    pub turns: Vec<ChatTurn>,
    /// Whether the model reasons before it answers.
    pub thinking: ThinkingMode,
    /// How hard the model reasons. `None` is the checkpoint's default.
    pub effort: Option<Effort>,
}

/// One turn of the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChatTurn {
    /// A message of the person.
    User(String),
    /// A message of the model.
    Assistant {
        /// The answer.
        text: String,
        /// The reasoning before the answer. The prompt leaves it out for turns before the last message of the person.
        reasoning: String,
    },
}

impl Chat {
    /// The prompt for the model's next turn.
    ///
    /// # Errors
    /// [`crate::Error::Text`] for an effort that the table does not have.
    pub fn render(&self, table: EffortTable) -> Result<Prompt> {
        let system = self.system.iter().map(|text| json!({"role": "system", "content": text}));
        let turns = self.turns.iter().map(|turn| match turn {
            ChatTurn::User(text) => json!({"role": "user", "content": text}),
            ChatTurn::Assistant { text, reasoning } => json!({"role": "assistant", "content": text, "reasoning_content": reasoning}),
        });
        let conversation = Conversation::new(system.chain(turns).collect(), self.thinking);
        Conversation { effort: self.effort, ..conversation }.render(table)
    }
}
