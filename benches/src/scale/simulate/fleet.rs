//! Who is in the world: hosts in three zones, two instances on each, services of a thousand and of ten.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use api::{Digest, Instance, InstanceKey, ServiceKey};

use super::dice::Dice;

/// Zones.
pub(super) const ZONES: usize = 3;

/// Instances on one host.
const PER_HOST: usize = 2;

/// Instances of an ordinary service.
const EACH: usize = 10;

/// How large a world is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Hosts, each with a sidecar and two instances.
    pub hosts: usize,
    /// Services that a host follows.
    pub follows: usize,
}

/// An instance as the world knows it.
#[derive(Clone, Debug)]
pub(super) struct App {
    pub(super) instance: Instance,
    /// Its place among the services.
    pub(super) service: usize,
    pub(super) host: usize,
    /// Whether its host wants it listed.
    pub(super) wanted: bool,
}

/// All instances, and what a list that is right says.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) services: Vec<ServiceKey>,
    pub(super) apps: Vec<App>,
    pub(super) by_key: BTreeMap<InstanceKey, usize>,
    by_host: Vec<Vec<usize>>,
    /// Whether each host lives.
    pub(super) lives: Vec<bool>,
    /// What each list says when it holds who is wanted and lives.
    pub(super) right: Vec<Digest>,
}

impl Fleet {
    /// `size` hosts: one instance in a hundred belongs to the first service.
    pub(super) fn new(size: Size) -> Self {
        let count = size.hosts * PER_HOST;
        let hot = (count / 100).max(EACH);
        let service_of = |number: usize| if number < hot { 0 } else { 1 + (number - hot) / EACH };
        let services: Vec<ServiceKey> =
            (0..=service_of(count - 1)).filter_map(|number| format!("s{number}").parse().ok()).collect();
        // Neighbours in a service stand on hosts far apart.
        let host_of = |number: usize| (number * 7_919) % size.hosts;
        let app = |number: usize| {
            let (service, host) = (service_of(number), host_of(number));
            let ip = Ipv4Addr::from(0x0a00_0000 + host as u32 + 1);
            let mut instance = Instance::at(
                services[service].clone(),
                SocketAddr::new(ip.into(), 8_000 + (number % 1_000) as u16),
            );
            instance.zone = format!("z{}", host % ZONES);
            App { instance, service, host, wanted: true }
        };
        let apps: Vec<App> = (0..count).map(app).collect();
        let by_key = apps.iter().enumerate().map(|(at, app)| (app.instance.key.clone(), at)).collect();
        let mut right = vec![Digest::EMPTY; services.len()];
        apps.iter().for_each(|app| right[app.service] += app.instance.digest());
        let mut by_host = vec![Vec::new(); size.hosts];
        apps.iter().enumerate().for_each(|(at, app)| by_host[app.host].push(at));
        Self { services, apps, by_key, by_host, lives: vec![true; size.hosts], right }
    }

    /// The services that host `host` follows.
    pub(super) fn follows(&self, host: usize, size: Size, dice: &mut Dice) -> Vec<usize> {
        let mut follows: Vec<usize> =
            (0..size.follows).map(|_| 1 + dice.below(self.services.len() - 1)).collect();
        // One host in fifty calls the service that has a thousand instances.
        if host.is_multiple_of(50) {
            follows.push(0);
        }
        follows.sort_unstable();
        follows.dedup();
        follows
    }

    /// Changes app `at` and keeps account of what is right.
    pub(super) fn change(&mut self, at: usize, change: impl FnOnce(&mut App)) {
        let lives = self.lives[self.apps[at].host];
        self.account(at, lives, |right, digest| *right -= digest);
        change(&mut self.apps[at]);
        self.account(at, lives, |right, digest| *right += digest);
    }

    /// Host `host` dies or lives again.
    pub(super) fn set_lives(&mut self, host: usize, lives: bool) {
        if std::mem::replace(&mut self.lives[host], lives) == lives {
            return;
        }
        for at in self.of_host(host) {
            self.account(at, true, |right, digest| match lives {
                true => *right += digest,
                false => *right -= digest,
            });
        }
    }

    fn account(&mut self, at: usize, lives: bool, add: impl FnOnce(&mut Digest, Digest)) {
        let app = &self.apps[at];
        if app.wanted && lives {
            add(&mut self.right[app.service], app.instance.digest());
        }
    }

    /// The apps of host `host`.
    pub(super) fn of_host(&self, host: usize) -> Vec<usize> {
        self.by_host[host].clone()
    }

    /// Whether the instance `key` answers: its host lives and wants it.
    pub(super) fn serves(&self, key: &InstanceKey) -> bool {
        self.by_key.get(key).is_some_and(|at| {
            let app = &self.apps[*at];
            app.wanted && self.lives[app.host]
        })
    }
}
