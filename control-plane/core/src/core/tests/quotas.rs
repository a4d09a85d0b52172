//! Parts of fleet-wide limits by what documents say, in force and in shadow.

use api::config::ControlPlaneConfig;
use api::policy::{Mode, Policy};
use api::quota::QuotaReport;
use api::{Moment, yaml};

use super::{ControlCore, Loaded, opening, service};

const POLICIES: &str = "name: force\nmatch: { service: s }\nlimits: [{ name: all, rate: 100/s, scope: fleet }]\n---\n\
                        name: shadow\nmatch: { service: s }\nmode: shadow\nlimits: [{ name: all, rate: 700/s, scope: fleet }]\n";

#[test]
fn parts_of_a_limit_in_shadow_are_apart_from_its_namesakes_in_force() {
    let mut core = ControlCore::new(&ControlPlaneConfig::default(), "store", Moment::ZERO);
    let policies =
        yaml::read_all::<Policy>(POLICIES).unwrap().into_iter().map(|policy| (policy, 1)).collect();
    core.load(Loaded { policies, revision: 1, ..Loaded::default() }, Moment::ZERO).unwrap();
    let session = core.open_session(opening(1, 1, Vec::new()), Moment::ZERO).unwrap().session;
    let report = |mode| {
        let limit = "all".parse().unwrap();
        QuotaReport { service: service(), limit, mode, wanted: 10_000.0, holds: 0.0 }
    };
    let reports = [report(Mode::Enforce), report(Mode::Shadow)];
    let told = core.report_quotas(&session, &reports, Moment::from_millis(6_000)).unwrap();
    let parts: Vec<(Mode, f64)> = told.iter().map(|grant| (grant.mode, grant.rate)).collect();
    assert_eq!(parts, [(Mode::Enforce, 100.0), (Mode::Shadow, 700.0)]);
    let views = core.quotas(Moment::from_millis(6_000)).unwrap();
    assert_eq!(views.iter().map(|view| (view.mode, view.rate)).collect::<Vec<_>>(), parts);
}
