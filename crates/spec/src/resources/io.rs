//! Block devices.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Limit;
use crate::{Error, Result};

/// Transfers of block devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Io {
    /// The share among neighbours that want the same device: 1 to 10000. Version 1 counts from 10
    /// to 1000: see [`io_to_blkio_weight`](super::io_to_blkio_weight).
    pub weight: Option<u64>,
    /// The same for single devices.
    pub device_weights: Vec<DeviceWeight>,
    /// The most that goes through single devices.
    pub rates: Vec<DeviceRate>,
}

/// The share of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceWeight {
    /// Which.
    pub device: DeviceNumber,
    /// 1 to 10000.
    pub weight: u64,
}

/// The most of one kind that goes through one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRate {
    /// Which; a whole disk, not a partition.
    pub device: DeviceNumber,
    /// What is counted.
    pub rate: Rate,
    /// How many of them a second; at least 1.
    pub limit: Limit,
}

/// What is counted, per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rate {
    /// Bytes read.
    ReadBytes,
    /// Bytes written.
    WriteBytes,
    /// Reads.
    Reads,
    /// Writes.
    Writes,
}

/// The number of a device: `8:0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceNumber {
    /// The driver.
    pub major: u32,
    /// The device.
    pub minor: u32,
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl FromStr for DeviceNumber {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers = text
            .split_once(':')
            .and_then(|(major, minor)| Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? }));
        numbers.ok_or_else(|| Error::user(format!("{text:?} is no number of a device (8:0)")))
    }
}
