//! Whitelists: who may register, subscribe and edit.
//!
//! For each thing that is asked about, the narrowest whitelists that say anything decide: those of the service, else
//! those of its namespace, else those of all services; of several as narrow, each lets in whom it names. Where none says
//! anything, everybody may. They judge who comes, and who watches again whenever they change; what is listed goes on.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;

use api::whitelist::{Doing, Whitelist, WhitelistView};
use api::{InstanceKey, Label, NodeName, ServiceKey, ServicePattern};

use crate::watch::WatcherId;

/// Whitelists at most.
pub(crate) const WHITELISTS_MAX: usize = 1_000;
/// Refused registrations and viewers that are remembered for `explain`.
const REMEMBERED: usize = 1_000;

/// Who asks: where from, and by which token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// From which address.
    pub address: IpAddr,
    /// Whose token it shows; `None` where it shows none that somebody made.
    pub token: Option<Label>,
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.token {
            Some(name) => write!(f, "token {name} from {}", self.address),
            None => write!(f, "{} without a token", self.address),
        }
    }
}

/// Who holds a watch.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Who it was when the watch began.
    pub(crate) asker: Asker,
    /// What it asked to hear of and might not.
    pub(crate) unheard: Vec<ServiceKey>,
}

/// A "no": who asked for what, and which whitelist says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotListed {
    /// What it would have done.
    pub doing: Doing,
    /// Of which services.
    pub services: ServicePattern,
    /// Who asked.
    pub asker: Asker,
    /// The whitelist that says who may.
    pub by: Label,
}

impl fmt::Display for NotListed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { doing, services, asker, by } = self;
        write!(f, "whitelist {by} does not let {asker} {doing} {services}")
    }
}

/// Every whitelist, and whom they refused lately.
#[derive(Debug, Default)]
pub(crate) struct Whitelists {
    lists: BTreeMap<Label, Whitelist>,
    refused: VecDeque<(InstanceKey, NotListed)>,
    unseen: VecDeque<((NodeName, ServiceKey), NotListed)>,
    held: BTreeMap<WatcherId, Holder>,
}

impl Whitelists {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lists.len()
    }

    /// Whether one is called so.
    pub(crate) fn has(&self, name: &Label) -> bool {
        self.lists.contains_key(name)
    }

    /// One is in force from now on.
    pub(crate) fn put(&mut self, name: Label, words: Whitelist) {
        self.lists.insert(name, words);
    }

    /// It is not, from now on.
    pub(crate) fn remove(&mut self, name: &Label) {
        self.lists.remove(name);
    }

    /// All of them.
    pub(crate) fn views(&self) -> Vec<WhitelistView> {
        let view =
            |(name, words): (&Label, &Whitelist)| WhitelistView { name: name.clone(), words: words.clone() };
        self.lists.iter().map(view).collect()
    }

    /// `holder` holds a watch from now on.
    pub(crate) fn hold(&mut self, id: WatcherId, holder: Holder) {
        self.held.insert(id, holder);
    }

    /// The watch is over.
    pub(crate) fn let_go(&mut self, id: WatcherId) {
        self.held.remove(&id);
    }

    /// Every watch that is held, and by whom.
    pub(crate) fn held(&self) -> impl Iterator<Item = (WatcherId, &Holder)> {
        self.held.iter().map(|(id, holder)| (*id, holder))
    }

    /// Whether `asker` may do `doing` to `services`: one service, those of a namespace, or all.
    pub(crate) fn ask(
        &self,
        doing: Doing,
        services: &ServicePattern,
        asker: &Asker,
    ) -> Result<(), NotListed> {
        let mut deciding: Vec<(&Label, &[api::whitelist::Who])> = Vec::new();
        for scope in scopes(services) {
            let same = self.lists.iter().filter(|(_, words)| words.services == scope);
            deciding.extend(same.filter_map(|(name, words)| Some((name, words.whom(doing)?))));
            if !deciding.is_empty() {
                break;
            }
        }
        let Some((by, _)) = deciding.first() else { return Ok(()) };
        let mut whom = deciding.iter().flat_map(|(_, whom)| whom.iter());
        if whom.any(|who| who.means(asker.address, asker.token.as_ref())) {
            return Ok(());
        }
        let (services, by) = (services.clone(), (*by).clone());
        Err(NotListed { doing, services, asker: asker.clone(), by })
    }

    /// A registration of `key` was refused.
    pub(crate) fn tell_refused(&mut self, key: InstanceKey, why: NotListed) {
        remember(&mut self.refused, key, why);
    }

    /// The list of `service` was not told to `node`.
    pub(crate) fn tell_unseen(&mut self, node: NodeName, service: ServiceKey, why: NotListed) {
        remember(&mut self.unseen, (node, service), why);
    }

    /// Why a registration of `key` was refused lately, if it was and still would be.
    pub(crate) fn refused(&self, key: &InstanceKey) -> Option<&NotListed> {
        self.lately(&self.refused, key)
    }

    /// Why `node` was not told of `service` lately, if it was not and still would not be.
    pub(crate) fn unseen(&self, node: &NodeName, service: &ServiceKey) -> Option<&NotListed> {
        self.lately(&self.unseen, &(node.clone(), service.clone()))
    }

    fn lately<'a, K: PartialEq>(&self, told: &'a VecDeque<(K, NotListed)>, key: &K) -> Option<&'a NotListed> {
        let (_, why) = told.iter().rev().find(|(own, _)| own == key)?;
        self.ask(why.doing, &why.services, &why.asker).is_err().then_some(why)
    }
}

fn remember<K: PartialEq>(told: &mut VecDeque<(K, NotListed)>, key: K, why: NotListed) {
    told.retain(|(own, _)| *own != key);
    if told.len() >= REMEMBERED {
        told.pop_front();
    }
    told.push_back((key, why));
}

/// `services` and what is wider, the narrowest first.
fn scopes(services: &ServicePattern) -> Vec<ServicePattern> {
    let mut scopes = vec![services.clone()];
    if let ServicePattern::Service(service) = services {
        scopes.push(ServicePattern::Namespace(service.namespace.clone()));
    }
    if *services != ServicePattern::All {
        scopes.push(ServicePattern::All);
    }
    scopes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// Whitelists by `NAME PATTERN WHO…`, all about registering; whether `token` may register `service`.
    fn check(lists: &[&str], service: &str, token: &str, wanted: &str) {
        let mut whitelists = Whitelists::default();
        for line in lists {
            let mut words = line.split_whitespace();
            let (name, services) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
            let register = Some(words.map(|who| who.parse().unwrap()).collect());
            let list = Whitelist { services, register, subscribe: None, edit: None };
            whitelists.put(name.parse().unwrap(), list);
        }
        let asker = Asker { address: [10, 0, 0, 1].into(), token: token.parse().ok() };
        let services = ServicePattern::Service(service.parse().unwrap());
        let told = whitelists.ask(Doing::Register, &services, &asker);
        assert_eq!(
            told.map_or_else(|no| no.by.to_string(), |()| "may".into()),
            wanted,
            "{lists:?} {service}"
        );
        let edit = whitelists.ask(Doing::Edit, &services, &asker);
        assert_eq!(edit, Ok(()), "nothing is said about editing");
    }

    #[test]
    fn the_narrowest_that_says_anything_decides_and_without_any_everybody_may() {
        check(&[], "cart.shop", "", "may");
        let lists = ["deny *", "shop *.shop token:shop", "cart cart.shop token:cart address:10.0.0.9"];
        check(&lists, "cart.shop", "cart", "may");
        check(&lists, "cart.shop", "shop", "cart");
        check(&lists, "search.shop", "shop", "may");
        check(&lists, "search.shop", "cart", "shop");
        check(&lists, "mail", "shop", "deny");
        check(&["a *.shop token:a", "b *.shop token:b"], "cart.shop", "b", "may");
        check(&["a *.shop token:a", "b *.shop address:10.0.0.0/8"], "cart.shop", "", "may");
    }

    #[test]
    fn what_was_refused_is_remembered_while_it_would_be_refused_again() {
        let mut whitelists = Whitelists::default();
        let name: Label = "deny".parse().unwrap();
        let deny = Whitelist {
            services: ServicePattern::All,
            register: Some(Vec::new()),
            subscribe: None,
            edit: None,
        };
        whitelists.put(name.clone(), deny);
        let asker = Asker { address: [10, 0, 0, 1].into(), token: None };
        let service: ServiceKey = "cart".parse().unwrap();
        let key = InstanceKey { service: service.clone(), ip: asker.address, port: 1 };
        let why = whitelists.ask(Doing::Register, &ServicePattern::Service(service), &asker).unwrap_err();
        assert_eq!(why.to_string(), "whitelist deny does not let 10.0.0.1 without a token register cart");
        whitelists.tell_refused(key.clone(), why.clone());
        assert_eq!(whitelists.refused(&key), Some(&why));
        whitelists.remove(&name);
        assert_eq!(whitelists.refused(&key), None);
    }
}
