//! What the control plane of `benches/line` lists, and who hears of it.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use api::message::News;
use api::{Cause, Delta, Digest, Instance, List, Removal, ServiceKey};

/// Every list, `app`'s first, and the streams that hear of changes.
#[derive(Debug)]
pub struct Books {
    lists: Vec<List>,
    /// Who is out of its list for now, for each list.
    out: Vec<Option<Instance>>,
    apps: Vec<SocketAddr>,
    streams: Vec<TcpStream>,
}

impl Books {
    /// `app` at `apps`, and `services` of `endpoints` that nobody calls.
    pub fn new(services: usize, endpoints: usize, apps: &[SocketAddr]) -> Self {
        let mut lists = vec![list("app", apps.iter().copied())];
        for service in 1..=services {
            let [high, low] = (service as u16).to_be_bytes();
            let places = (1..=endpoints).map(|host| (Ipv4Addr::new(10, high, low, host as u8), 80).into());
            lists.push(list(&format!("service-{service}"), places));
        }
        Self { out: vec![None; lists.len()], lists, apps: apps.to_vec(), streams: Vec::new() }
    }

    /// The list of `service`.
    pub(super) fn list(&self, service: &ServiceKey) -> Option<&List> {
        self.lists.iter().find(|list| list.service == *service)
    }

    /// `stream` hears of every change from now on.
    pub(super) fn hears(&mut self, stream: TcpStream) {
        self.streams.push(stream);
    }

    /// The last endpoint of a list leaves, or is back.
    pub fn flip(&mut self, at: usize) {
        match self.out[at].take() {
            Some(back) => self.change(at, vec![back], &[]),
            None => {
                let Some(last) = self.lists[at].instances.last().cloned() else { return };
                self.out[at] = Some(last.clone());
                self.change(at, Vec::new(), &[last]);
            }
        }
    }

    /// So many more serve `app`: the same programs at other addresses. Returns how many there are then.
    pub fn join(&mut self, count: u32) -> usize {
        let more = self.more(count);
        self.change(0, more, &[]);
        self.lists[0].instances.len()
    }

    /// They leave again.
    pub fn leave(&mut self, count: u32) -> usize {
        let more = self.more(count);
        self.change(0, Vec::new(), &more);
        self.lists[0].instances.len()
    }

    fn more(&self, count: u32) -> Vec<Instance> {
        let place = |n: u32| {
            let [_, _, high, low] = n.to_be_bytes();
            let port = self.apps[n as usize % self.apps.len()].port();
            Instance::at(self.lists[0].service.clone(), (Ipv4Addr::new(127, 1, high, low), port).into())
        };
        (1..=count).map(place).collect()
    }

    /// One change of one list, told to all who watch.
    fn change(&mut self, at: usize, upsert: Vec<Instance>, gone: &[Instance]) {
        let list = &mut self.lists[at];
        let base = list.digest;
        for instance in gone {
            list.instances.retain(|listed| listed.key != instance.key);
            list.digest -= instance.digest();
        }
        for instance in &upsert {
            list.digest += instance.digest();
        }
        list.instances.extend(upsert.iter().cloned());
        list.instances.sort_by(|a, b| a.key.cmp(&b.key));
        list.revision += 1;
        let removal = |instance: &Instance| Removal { key: instance.key.clone(), cause: Cause::Deregistered };
        let remove = gone.iter().map(removal).collect();
        let line = line(&delta(list, base, upsert, remove));
        self.streams.retain_mut(|stream| stream.write_all(&line).is_ok());
    }
}

fn list(service: &str, places: impl Iterator<Item = SocketAddr>) -> List {
    let unnamed = ServiceKey::unnamed();
    let service = service.parse().unwrap_or(unnamed);
    List::new(service.clone(), 1, places.map(|place| Instance::at(service.clone(), place)).collect())
}

fn delta(list: &List, base: Digest, upsert: Vec<Instance>, remove: Vec<Removal>) -> News {
    let (service, store) = (list.service.clone(), "line".to_owned());
    let (digest, revision) = (list.digest, list.revision);
    News::List(Delta { service, base, digest, revision, store, complete: true, known: true, upsert, remove })
}

/// A whole list, as somebody hears of it who holds nothing.
pub(super) fn whole(list: &List) -> News {
    delta(list, Digest::EMPTY, list.instances.clone(), Vec::new())
}

/// News as they travel.
pub(super) fn line(news: &News) -> Vec<u8> {
    let mut line = serde_json::to_vec(news).unwrap_or_default();
    line.push(b'\n');
    line
}
