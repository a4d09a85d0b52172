//! Further clusters of control planes that one sidecar speaks to.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::sidecar::ControlConfig;
use crate::name::Label;
use crate::pattern::ServicePattern;
use crate::problem::Problem;
use crate::schema::entry;

/// What the cluster of `control.urls` is called.
pub const FIRST_CLUSTER: &str = "main";
/// Clusters of one sidecar at most: two that mirror each other, and two of other businesses.
pub const CLUSTERS_MAX: usize = 4;

entry! {
    /// A cluster of control planes beside that of `control.urls`, which shares nothing with it.
    pub struct ClusterConfig {
        /// What it is called in logs, metrics and status.
        must name: Label;
        /// Where it answers, each tried in turn.
        must urls: Vec<String>;
        /// The authority of its `https` URLs; that of `control` when empty.
        leaf ca_file: PathBuf = PathBuf::new(), because "one authority signs for most businesses";
        /// The file with the secret of a token that it is shown; none when empty.
        leaf token_file: PathBuf = PathBuf::new(), because "without whitelists nobody asks";
        /// The services (`checkout.shop`) and namespaces (`*.shop`) that are looked for and registered there and
        /// nowhere else; when empty, it stands beside `main` for all that no other names.
        leaf serves: Vec<ServicePattern> = Vec::new(), because "a second registry of the same is the commoner wish";
    }
}

impl ControlConfig {
    /// Every cluster, the first one first; empty where the file names no control plane.
    ///
    /// The first is called [`FIRST_CLUSTER`] and serves all that no other names.
    pub fn clusters(&self) -> Vec<ClusterConfig> {
        // A constant that is a name.
        let Ok(name) = FIRST_CLUSTER.parse() else { return Vec::new() };
        let (urls, serves) = (self.urls.clone(), Vec::new());
        let (ca_file, token_file) = (self.ca_file.clone(), self.token_file.clone());
        let first = ClusterConfig { name, urls, ca_file, token_file, serves };
        let own = |cluster: &ClusterConfig| match cluster.ca_file.as_os_str().is_empty() {
            true => ClusterConfig { ca_file: self.ca_file.clone(), ..cluster.clone() },
            false => cluster.clone(),
        };
        let some = !self.urls.is_empty();
        some.then_some(first).into_iter().chain(self.also.iter().map(own)).collect()
    }

    /// What the file may not say of them although each word is right.
    pub(super) fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut tell =
            |path: &str, what: String, hint: &str| problems.push(Problem::at(path, what).hint(hint));
        let mut check_urls = |path: &str, urls: &[String]| {
            for (at, url) in urls.iter().enumerate() {
                let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
                if !rest.is_some_and(|authority| authority.contains(':') && !authority.contains('/')) {
                    let what = format!("{url:?} is not a control plane's URL");
                    tell(&format!("{path}[{at}]"), what, "write http://HOST:PORT or https://HOST:PORT");
                }
            }
        };
        check_urls("control.urls", &self.urls);
        for (at, cluster) in self.also.iter().enumerate() {
            check_urls(&format!("control.also[{at}].urls"), &cluster.urls);
        }
        if self.urls.is_empty() && !self.also.is_empty() {
            tell("control.also", "further clusters and no first one".into(), "write control.urls");
        }
        if self.also.len() >= CLUSTERS_MAX {
            let what = format!(
                "{} clusters, over the {CLUSTERS_MAX} that one sidecar speaks to",
                self.also.len() + 1
            );
            tell("control.also", what, "one cluster may have many urls");
        }
        let mut names = BTreeSet::from([FIRST_CLUSTER]);
        for (at, cluster) in self.also.iter().enumerate() {
            let path = format!("control.also[{at}]");
            if !names.insert(cluster.name.as_str()) {
                let what = format!("another cluster is called {}", cluster.name);
                tell(
                    &format!("{path}.name"),
                    what,
                    "main is that of control.urls; each has a name of its own",
                );
            }
            if cluster.urls.is_empty() {
                tell(&format!("{path}.urls"), "a cluster without URLs".into(), "write http://HOST:PORT");
            }
            if cluster.serves.contains(&ServicePattern::All) {
                let hint = "leave serves out: it then stands beside main";
                tell(&format!("{path}.serves"), "a cluster that serves * alone".into(), hint);
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use crate::config::{SidecarConfig, SidecarConfigWords};
    use crate::schema::Words;
    use crate::yaml;

    fn config(control: &str) -> SidecarConfig {
        yaml::read_one::<SidecarConfigWords>(&format!("control: {control}\n")).unwrap().settle()
    }

    #[test]
    fn clusters_are_the_first_and_the_others() {
        let told = config(
            "{ urls: ['http://a:1'], ca_file: a.pem, also: [{ name: b, urls: ['http://b:1'], serves: ['*.x', y] }] }",
        );
        assert_eq!(told.check(), []);
        let names: Vec<_> = told
            .control
            .clusters()
            .iter()
            .map(|c| (c.name.to_string(), c.ca_file.display().to_string()))
            .collect();
        assert_eq!(names, [("main".to_owned(), "a.pem".to_owned()), ("b".into(), "a.pem".into())]);
        assert!(config("{}").control.clusters().is_empty());
    }

    #[test]
    fn what_is_wrong_with_them_is_told() {
        let some = |also: &str| format!("{{ urls: ['http://a:1'], also: [{also}] }}");
        let b = "{ name: b, urls: ['http://b:1'] }";
        for (control, wanted) in [
            (format!("{{ also: [{b}] }}"), "no first one"),
            (some("{ name: main, urls: ['http://b:1'] }"), "another cluster is called main"),
            (some(&format!("{b}, {b}")), "another cluster is called b"),
            (some("{ name: b, urls: [] }"), "without URLs"),
            (some("{ name: b, urls: ['b'] }"), "is not a control plane's URL"),
            (some("{ name: b, urls: ['http://b:1'], serves: ['*'] }"), "serves * alone"),
            (
                some(
                    &[
                        b,
                        "{ name: c, urls: ['http://c:1'] }",
                        "{ name: d, urls: ['http://d:1'] }",
                        "{ name: e, urls: ['http://e:1'] }",
                    ]
                    .join(", "),
                ),
                "5 clusters",
            ),
        ] {
            let told: Vec<String> = config(&control).check().iter().map(ToString::to_string).collect();
            assert_eq!(told.len(), 1, "{control}: {told:?}");
            assert!(told[0].contains(wanted), "{told:?}");
        }
    }
}
