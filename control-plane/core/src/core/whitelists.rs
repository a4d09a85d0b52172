//! Whitelists as the shell meets them: asked before anybody registers, subscribes or edits.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api::message::{DigestCheck, News, OpenSession, Watch};
use api::whitelist::{Doing, Whitelist, WhitelistView};
use api::{
    Delta, Digest, Instance, InstanceKey, Label, Moment, NodeName, Problem, ServiceKey, ServicePattern,
};

use super::ControlCore;
use crate::access::SecretDigest;
use crate::event::Event;
use crate::refusal::Refusal;
use crate::watch::WatcherId;
use crate::whitelists::{Asker, Holder, NotListed, WHITELISTS_MAX};

/// What whitelists leave of a watch.
#[derive(Debug)]
pub struct Sifted {
    /// What is said in the place of lists that may not be heard: that nobody ever registered there.
    pub news: Vec<News>,
    /// Who holds it.
    pub holder: Holder,
}

impl ControlCore {
    /// Who comes from `address` and shows `secret`.
    pub fn asker(&self, address: IpAddr, secret: Option<&SecretDigest>) -> Asker {
        Asker { address, token: self.access.whose(secret) }
    }

    /// Takes out of `open` what `asker` may not register, and says which.
    pub fn sift_session(
        &mut self,
        asker: &Asker,
        open: &mut OpenSession,
        now: Moment,
    ) -> BTreeSet<InstanceKey> {
        let mut refused = BTreeSet::new();
        if self.whitelists.is_empty() {
            return refused;
        }
        let node = open.node.clone();
        open.instances.retain(|instance| {
            let may = self.may(Doing::Register, &instance.key.service, asker);
            let Err(why) = may else { return true };
            refused.insert(instance.key.clone());
            self.refused(node.clone(), instance.key.clone(), why, now);
            false
        });
        refused
    }

    /// Whether `asker` may register `instance` under `session`.
    ///
    /// # Errors
    /// [`Refusal::NotListed`].
    pub fn check_registration(
        &mut self,
        asker: &Asker,
        session: &str,
        instance: &Instance,
        now: Moment,
    ) -> Result<(), Refusal> {
        let Err(why) = self.may(Doing::Register, &instance.key.service, asker) else { return Ok(()) };
        let id = self.session(session)?;
        if let Some(node) = self.sessions.get(id).map(|session| session.node.clone()) {
            self.refused(node, instance.key.clone(), why.clone(), now);
        }
        Err(Refusal::NotListed(why))
    }

    /// Takes out of `watch` the lists that `asker` may not hear of.
    pub fn sift_watch(&mut self, asker: Asker, watch: &mut Watch, now: Moment) -> Sifted {
        let (mut news, mut unheard) = (Vec::new(), Vec::new());
        if self.whitelists.is_empty() {
            return Sifted { news, holder: Holder { asker, unheard } };
        }
        let (store, node) = (self.store.clone(), watch.node.clone());
        watch.lists.retain(|service, held| {
            let Err(why) = self.may(Doing::Subscribe, service, &asker) else { return true };
            if *held != Digest::EMPTY {
                news.push(News::List(nothing(service, &store)));
            }
            unheard.push(service.clone());
            if let Some(node) = &node {
                self.unseen(node.clone(), service.clone(), why, now);
            }
            false
        });
        Sifted { news, holder: Holder { asker, unheard } }
    }

    /// The watch `id` is held by `holder`: judged again whenever a whitelist changes.
    pub fn held_by(&mut self, id: WatcherId, holder: Holder) {
        self.whitelists.hold(id, holder);
    }

    /// Watches since this was last asked that are to end because a whitelist changed what they may hear: their readers
    /// come again and are judged anew.
    pub fn take_ended(&mut self) -> Vec<WatcherId> {
        std::mem::take(&mut self.ended)
    }

    /// The lists of `check` of which `asker` may not hear, taken out of it.
    pub fn sift_digests(&self, asker: &Asker, check: &mut DigestCheck) -> Vec<ServiceKey> {
        let mut left_out = Vec::new();
        if !self.whitelists.is_empty() {
            check.lists.retain(|service| {
                let may = self.may(Doing::Subscribe, service, asker).is_ok();
                left_out.extend((!may).then(|| service.clone()));
                may
            });
        }
        left_out
    }

    /// Whether `asker` may ask for the list of `service`.
    ///
    /// # Errors
    /// [`Refusal::NotListed`].
    pub fn check_query(&self, asker: &Asker, service: &ServiceKey) -> Result<(), Refusal> {
        self.may(Doing::Subscribe, service, asker).map_err(Refusal::NotListed)
    }

    /// Whether `asker` may write what concerns `services`, beside the role that this needs.
    ///
    /// # Errors
    /// [`NotListed`].
    pub fn check_edit(&self, asker: &Asker, services: &ServicePattern) -> Result<(), NotListed> {
        self.whitelists.ask(Doing::Edit, services, asker)
    }

    /// Whether such a whitelist may be made.
    ///
    /// # Errors
    /// [`Refusal::Wrong`], [`Refusal::Full`].
    pub fn check_whitelist(&self, name: &Label, words: &Whitelist) -> Result<(), Refusal> {
        self.loaded()?;
        if self.whitelists.len() >= WHITELISTS_MAX && !self.whitelists.has(name) {
            return Err(Refusal::Full("whitelists"));
        }
        if words.register.is_none() && words.subscribe.is_none() && words.edit.is_none() {
            let what = "it says nothing";
            let hint = "write register, subscribe or edit; an empty list means nobody";
            return Err(Refusal::Wrong(vec![Problem::at("", what).hint(hint)]));
        }
        Ok(())
    }

    /// Whether there is a whitelist of that name.
    ///
    /// # Errors
    /// [`Refusal::NoSuchWhitelist`].
    pub fn check_whitelist_removal(&self, name: &Label) -> Result<(), Refusal> {
        self.loaded()?;
        if self.whitelists.has(name) { Ok(()) } else { Err(Refusal::NoSuchWhitelist) }
    }

    /// A whitelist is durable: it counts from now on, also for watches that are held. It is gone when `words` are
    /// `None`.
    pub fn put_whitelist(&mut self, name: Label, words: Option<Whitelist>) {
        match words {
            Some(words) => self.whitelists.put(name, words),
            None => self.whitelists.remove(&name),
        }
        let may = |service: &ServiceKey, holder: &Holder| self.may(Doing::Subscribe, service, &holder.asker);
        let misjudged = |(id, holder): &(WatcherId, &Holder)| {
            holder.unheard.iter().any(|service| may(service, holder).is_ok())
                || self.watches.lists_of(*id).any(|service| may(service, holder).is_err())
        };
        let ended: Vec<WatcherId> = self.whitelists.held().filter(misjudged).map(|(id, _)| id).collect();
        self.ended.extend(ended);
    }

    /// Every whitelist.
    ///
    /// # Errors
    /// [`Refusal::NotLoaded`].
    pub fn whitelists(&self) -> Result<Vec<WhitelistView>, Refusal> {
        self.loaded()?;
        Ok(self.whitelists.views())
    }

    fn may(&self, doing: Doing, service: &ServiceKey, asker: &Asker) -> Result<(), NotListed> {
        if self.whitelists.is_empty() {
            return Ok(());
        }
        self.whitelists.ask(doing, &ServicePattern::Service(service.clone()), asker)
    }

    fn refused(&mut self, node: NodeName, key: InstanceKey, why: NotListed, now: Moment) {
        self.whitelists.tell_refused(key, why.clone());
        self.told([Event::NotListed { node, why }], now);
    }

    fn unseen(&mut self, node: NodeName, service: ServiceKey, why: NotListed, now: Moment) {
        // A watch is opened anew again and again: told once.
        if self.whitelists.unseen(&node, &service).is_none() {
            self.told([Event::NotListed { node: node.clone(), why: why.clone() }], now);
        }
        self.whitelists.tell_unseen(node, service, why);
    }
}

/// What is said of a service that nobody ever registered.
fn nothing(service: &ServiceKey, store: &str) -> Delta {
    Delta {
        service: service.clone(),
        base: Digest::EMPTY,
        digest: Digest::EMPTY,
        revision: 0,
        store: store.to_owned(),
        complete: true,
        known: false,
        upsert: Vec::new(),
        remove: Vec::new(),
    }
}
