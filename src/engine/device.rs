//! The choice of the device that a model runs on.

use crate::gpu::{Adapter, AdapterKind, adapters};
use crate::{Error, Result};
use std::str::FromStr;

/// A choice of device, as the option `--device` states it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first of these that exists: a discrete GPU, an integrated GPU, another adapter, the CPU. A software driver is used only where it
    /// is chosen by name or number.
    #[default]
    Auto,
    /// The reference on the CPU.
    Cpu,
    /// The adapter with this number in the list of `dwarfstar devices`.
    Index(usize),
    /// The first adapter whose name contains this text, ignoring case.
    Name(String),
}

impl FromStr for DeviceChoice {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "auto" => Self::Auto,
            "cpu" => Self::Cpu,
            _ => text.parse().map_or_else(|_| Self::Name(text.to_string()), Self::Index),
        })
    }
}

impl DeviceChoice {
    /// The chosen adapter, or `None` for the CPU.
    ///
    /// # Errors
    /// Where no such adapter exists, with the names of those that do.
    pub fn find(&self) -> Result<Option<Adapter>> {
        let mut all = match self {
            Self::Cpu => return Ok(None),
            _ => adapters(),
        };
        let names = || all.iter().enumerate().map(|(i, a)| format!("{i} {}", a.name)).collect::<Vec<_>>().join(", ");
        let unknown = |what: String| {
            Error::Refused(format!("no device {what}; there are: {}", if all.is_empty() { "cpu".into() } else { names() + ", cpu" }))
        };
        let found = match self {
            Self::Auto => {
                let rank = |i: &usize| match all[*i].kind {
                    AdapterKind::Discrete => Some(0),
                    AdapterKind::Integrated => Some(1),
                    AdapterKind::Other => Some(2),
                    AdapterKind::Software => None,
                };
                match (0..all.len()).filter(|i| rank(i).is_some()).min_by_key(rank) {
                    None => return Ok(None),
                    found => found,
                }
            }
            Self::Cpu => None,
            Self::Index(index) => (*index < all.len()).then_some(*index),
            Self::Name(name) => all.iter().position(|a| a.name.to_lowercase().contains(&name.to_lowercase())),
        };
        match (found, self) {
            (Some(i), _) => Ok(Some(all.swap_remove(i))),
            (None, Self::Index(index)) => Err(unknown(index.to_string())),
            (None, Self::Name(name)) => Err(unknown(format!("{name:?}"))),
            (None, _) => Ok(None),
        }
    }
}
