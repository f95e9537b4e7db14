//! How a gateway stands, for people and programs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::account::metrics;
use crate::door::Front;
use crate::service::Service;

/// How a gateway stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Its worker's process.
    pub pid: u32,
    /// Clients that are connected.
    pub connections: usize,
    /// Its services, by name.
    pub services: Vec<ServiceStatus>,
}

/// How one of its services stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// Its package.
    pub package: String,
    /// Why it cannot be served, if that is so.
    pub trouble: Option<String>,
    /// Requests that wait.
    pub waiting: usize,
    /// Requests that were answered.
    pub requests: u64,
    /// Those of them that waited for a start.
    pub cold: u64,
    /// Those that were answered by a failure (5xx).
    pub failed: u64,
    /// Starts of instances.
    pub starts: u64,
    /// Its instances.
    pub instances: Vec<InstanceStatus>,
}

/// How one instance stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Its container.
    pub container: String,
    /// Its stage: starting, ready, freezing, frozen, thawing, draining, stopping.
    pub stage: String,
    /// Requests that it has now.
    pub in_flight: u32,
    /// Milliseconds since its start.
    pub age: u64,
    /// Milliseconds since its last request.
    pub rests: u64,
}

impl Status {
    pub(super) fn of(front: &Front) -> Self {
        let mut services: Vec<_> = front.house.services.borrow().iter().map(|one| of_service(one)).collect();
        services.sort_by(|a, b| a.name.cmp(&b.name));
        Self { pid: std::process::id(), connections: front.open.get(), services }
    }
}

fn of_service(service: &Service) -> ServiceStatus {
    let told = service.told.borrow();
    let counters = service.counters.borrow();
    let instances = service.instances().into_iter().map(|one| InstanceStatus {
        container: format!("{}.{}", told.name, one.number),
        stage: if one.leaving.get().is_some() && one.in_flight.get() > 0 {
            "draining"
        } else {
            one.stage.get().word()
        }
        .to_owned(),
        in_flight: one.in_flight.get(),
        age: one.since.get().elapsed().as_millis() as u64,
        rests: one.used.get().elapsed().as_millis() as u64,
    });
    ServiceStatus {
        name: told.name.to_string(),
        package: told.package.clone(),
        trouble: service.trouble.borrow().clone(),
        waiting: service.waiting(),
        requests: counters.answers.iter().sum(),
        cold: counters.cold.count(),
        failed: counters.answers[5],
        starts: counters.starts,
        instances: instances.collect(),
    }
}

/// The same for Prometheus, with what was counted.
pub(super) fn metrics(front: &Front) -> String {
    let services = front.house.services.borrow();
    let names: Vec<String> = services.iter().map(|service| service.name()).collect();
    let counters: Vec<_> = services.iter().map(|service| service.counters.borrow()).collect();
    let stages: Vec<Vec<(&str, u64)>> = services.iter().map(|service| stages(service)).collect();
    let busy = |service: &Service| service.instances().iter().map(|one| u64::from(one.in_flight.get())).sum();
    let all = services.iter().enumerate().map(|(place, service)| metrics::Service {
        name: &names[place],
        counters: &counters[place],
        instances: &stages[place],
        waiting: service.waiting() as u64,
        in_flight: busy(service),
    });
    let gateway = metrics::Gateway {
        version: env!("CARGO_PKG_VERSION"),
        connections: front.open.get() as u64,
        lines_lost: front.log.lost(),
    };
    metrics::exposition(&gateway, &all.collect::<Vec<_>>())
}

fn stages(service: &Service) -> Vec<(&'static str, u64)> {
    let mut counted: BTreeMap<&'static str, u64> = BTreeMap::new();
    for one in service.instances() {
        *counted.entry(one.stage.get().word()).or_default() += 1;
    }
    counted.into_iter().collect()
}
