//! Block devices.

use std::collections::BTreeMap;

use spec::Result;
use spec::resources::{DeviceNumber, DeviceRate, Io, Limit, Rate, io_to_blkio_weight};

use super::Plan;
use crate::layout::Version;

impl Plan<'_> {
    pub(super) fn io(&mut self, io: &Io) -> Result<()> {
        if *io == Io::default() {
            return Ok(());
        }
        match self.version("blkio", "io", "transfers of block devices")? {
            Version::One => self.io_one(io),
            Version::Two => self.io_two(io),
        }
        Ok(())
    }

    /// Weights are the scheduler's: CFQ's files are gone with Linux 5.0, BFQ has its own.
    fn io_one(&mut self, io: &Io) {
        if let Some(weight) = io.weight.map(io_to_blkio_weight) {
            let instead = Some(("blkio.bfq.weight", weight.to_string()));
            self.put_or(Version::One, "blkio", ("blkio.weight", weight), instead);
        }
        for one in &io.device_weights {
            let line = format!("{} {}", one.device, io_to_blkio_weight(one.weight));
            let instead = Some(("blkio.bfq.weight_device", line.clone()));
            self.put_or(Version::One, "blkio", ("blkio.weight_device", line), instead);
        }
        for DeviceRate { device, rate, limit } in &io.rates {
            let file = match rate {
                Rate::ReadBytes => "blkio.throttle.read_bps_device",
                Rate::WriteBytes => "blkio.throttle.write_bps_device",
                Rate::Reads => "blkio.throttle.read_iops_device",
                Rate::Writes => "blkio.throttle.write_iops_device",
            };
            // Nothing is no limit there.
            let limit = limit.number().unwrap_or(0);
            self.put(Version::One, "blkio", file, format_args!("{device} {limit}"));
        }
    }

    fn io_two(&mut self, io: &Io) {
        if let Some(weight) = io.weight {
            let instead = Some(("io.bfq.weight", io_to_blkio_weight(weight).to_string()));
            self.put_or(Version::Two, "io", ("io.weight", format_args!("default {weight}")), instead);
        }
        for one in &io.device_weights {
            let line = format!("{} {}", one.device, one.weight);
            let instead =
                Some(("io.bfq.weight", format!("{} {}", one.device, io_to_blkio_weight(one.weight))));
            self.put_or(Version::Two, "io", ("io.weight", line), instead);
        }
        let mut devices: BTreeMap<DeviceNumber, BTreeMap<Rate, Limit>> = BTreeMap::new();
        for one in &io.rates {
            devices.entry(one.device).or_default().insert(one.rate, one.limit);
        }
        for (device, rates) in devices {
            let rates = rates.iter().map(|(rate, limit)| format!(" {}={limit}", key(*rate)));
            self.put(Version::Two, "io", "io.max", format_args!("{device}{}", rates.collect::<String>()));
        }
    }
}

fn key(rate: Rate) -> &'static str {
    match rate {
        Rate::ReadBytes => "rbps",
        Rate::WriteBytes => "wbps",
        Rate::Reads => "riops",
        Rate::Writes => "wiops",
    }
}
