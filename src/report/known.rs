//! What is worked out once a plan: what its faults do, and where everything is.

use std::sync::Arc;

use crate::plan::{Plan, ServiceId};
use crate::sli::estimate::Harms;

/// What is known of a plan without any count.
#[derive(Debug)]
pub struct Known {
    pub(super) harms: Harms,
    /// The services of each SLO's routes, in the plan's order.
    slos: Vec<Vec<ServiceId>>,
    /// And of each fault's.
    faults: Vec<Vec<ServiceId>>,
}

impl Known {
    pub fn of(plan: Arc<Plan>) -> Self {
        let mut slos = vec![Vec::new(); plan.slos.len()];
        let mut faults = vec![Vec::new(); plan.faults.len()];
        let add = |services: &mut Vec<ServiceId>, service: ServiceId| {
            if let Err(place) = services.binary_search(&service) {
                services.insert(place, service);
            }
        };
        for route in &plan.routes {
            route.slos.iter().for_each(|slo| add(&mut slos[usize::from(*slo)], route.service));
            for fault in &route.faults {
                add(&mut faults[usize::from(*fault)], route.service);
            }
        }
        Self { harms: Harms::of(plan), slos, faults }
    }

    pub(super) fn plan(&self) -> &Arc<Plan> {
        self.harms.plan()
    }

    pub(super) fn of_slo(&self, at: usize) -> &[ServiceId] {
        self.slos.get(at).map_or(&[], Vec::as_slice)
    }

    pub(super) fn of_fault(&self, at: usize) -> &[ServiceId] {
        self.faults.get(at).map_or(&[], Vec::as_slice)
    }

    pub(super) fn names(&self, services: &[ServiceId]) -> Vec<String> {
        let named =
            services.iter().map(|id| self.plan().services[usize::from(*id)].name.to_string());
        named.collect()
    }
}
