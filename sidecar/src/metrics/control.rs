//! The control thread's status as metrics: it keeps its own numbers, a scrape only reads them.

use super::catalogue as c;
use super::sheet::Sheet;
use crate::control::Status;

/// Puts what `status` says into `sheet`.
pub fn collect(status: &Status, sheet: &mut Sheet) {
    let registered = status.instances.iter().filter(|instance| instance.registered).count();
    sheet.set(&c::REGISTERED, &[], registered as f64);
    let rejected = status.policies.iter().filter(|policies| !policies.rejected.is_empty()).count();
    sheet.set(&c::POLICIES_REJECTED, &[], rejected as f64);
    for service in &status.services {
        for (result, count) in
            ["bad", "good"].into_iter().zip(service.checked).filter(|_| service.checked != [0, 0])
        {
            sheet.set(&c::CHECKS, &[&service.service.to_string(), result], count as f64);
        }
        if let Some(age) = service.age {
            sheet.set(&c::LIST_AGE, &[&service.service.to_string()], age as f64 / 1e3);
        }
    }
    for shadow in &status.shadows {
        let service = shadow.service.to_string();
        sheet.set(&c::SHADOW_REQUESTS, &[&service], shadow.requests as f64);
        for (leaf, count) in &shadow.would {
            sheet.set(&c::SHADOW_WOULD, &[&service, leaf], *count as f64);
        }
    }
    for control in status.clusters() {
        let cluster = &[control.cluster.as_str()];
        sheet.set(&c::CONTROL_CONNECTED, cluster, f64::from(u8::from(control.connected)));
        sheet.set(&c::CONTROL_LOST, cluster, f64::from(u8::from(control.lost)));
        sheet.set(&c::CONTROL_SYNC, cluster, control.heard_at.unwrap_or(0) as f64 / 1e3);
        sheet.set(&c::CONTROL_RESYNCS, cluster, control.resyncs as f64);
        sheet.set(&c::BEATS_MISSED, cluster, control.beats_missed as f64);
        sheet.set(&c::NEWS_UNREADABLE, cluster, control.unreadable as f64);
    }
}
