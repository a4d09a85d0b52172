//! Overrides, planned drains and notify shares: what operators put over the registry's judgement, for a time.
//!
//! As with policies the shell makes them durable between the check and the application, and writes the audit.

mod kinds;

use api::{InForce, Label, Moment, NotifyShare, Override, PlannedDrain, Problem, Span};

use super::ControlCore;
use crate::event::Event;
use crate::exceptions::ForATime;
use crate::refusal::Refusal;

/// One kind of thing that operators say for a time: what is asked of it first, and what it changes.
pub trait Exception: Clone {
    /// All of the kind, as [`Refusal::Full`] names them.
    const ALL: &'static str;

    /// How long it lasts.
    fn ttl(&self) -> Span;

    /// It in words, with who said it and why.
    fn words(&self) -> String;

    /// Every mistake in it.
    fn problems(&self) -> Vec<Problem>;

    /// Whether it may be in force now, all its words being right.
    ///
    /// # Errors
    /// [`Refusal::BlastRadius`].
    fn allowed(&self, _core: &ControlCore, _now: Moment) -> Result<(), Refusal> {
        Ok(())
    }

    /// Those in force, by name.
    fn table(core: &ControlCore) -> &ForATime<Self>;

    /// The same, to change.
    fn table_mut(core: &mut ControlCore) -> &mut ForATime<Self>;

    /// It is in force, in the place of `before`: what follows.
    fn begun(&self, _before: Option<Self>, _core: &mut ControlCore, _now: Moment) -> Vec<Event> {
        Vec::new()
    }

    /// It is not in force any more: what follows.
    fn over(&self, _core: &mut ControlCore, _now: Moment) -> Vec<Event> {
        Vec::new()
    }
}

impl ControlCore {
    /// Whether `said` may be put in force under `name`: its words are right, there is room, and it is allowed.
    ///
    /// # Errors
    /// [`Refusal::Wrong`], [`Refusal::Full`], what [`Exception::allowed`] says.
    pub fn check_exception<T: Exception>(&self, name: &Label, said: &T, now: Moment) -> Result<(), Refusal> {
        self.loaded()?;
        let problems = said.problems();
        if !problems.is_empty() {
            return Err(Refusal::Wrong(problems));
        }
        if !T::table(self).has_room(name) {
            return Err(Refusal::Full(T::ALL));
        }
        said.allowed(self, now)
    }

    /// `said` is durable: it is in force under `name` until its time is over.
    ///
    /// # Errors
    /// As [`ControlCore::check_exception`].
    pub fn put_exception<T: Exception>(&mut self, name: Label, said: T, now: Moment) -> Result<(), Refusal> {
        self.check_exception(&name, &said, now)?;
        let until = now + said.ttl().duration();
        let before = T::table_mut(self).put(name.clone(), said.clone(), until);
        let mut events = vec![Event::ExceptionBegan { name, what: said.words() }];
        events.extend(said.begun(before, self, now));
        self.told(events, now);
        Ok(())
    }

    /// What is in force under `name` is over before its time.
    ///
    /// # Errors
    /// [`Refusal::NoSuchException`].
    pub fn end_exception<T: Exception>(&mut self, name: Label, now: Moment) -> Result<(), Refusal> {
        self.loaded()?;
        let said = T::table_mut(self).remove(&name).ok_or(Refusal::NoSuchException)?;
        let mut events = vec![Event::ExceptionOver { name, ran_out: false }];
        events.extend(said.over(self, now));
        self.told(events, now);
        Ok(())
    }

    /// All of a kind that are in force.
    ///
    /// # Errors
    /// [`Refusal::NotLoaded`].
    pub fn exceptions<T: Exception>(&self, now: Moment) -> Result<Vec<InForce<T>>, Refusal> {
        self.loaded()?;
        Ok(T::table(self).in_force(now))
    }

    /// Ends what has lasted its time.
    pub(super) fn end_exceptions(&mut self, now: Moment) -> Vec<Event> {
        let mut events = self.run_out::<Override>(now);
        events.extend(self.run_out::<PlannedDrain>(now));
        events.extend(self.run_out::<NotifyShare>(now));
        events
    }

    fn run_out<T: Exception>(&mut self, now: Moment) -> Vec<Event> {
        let mut events = Vec::new();
        for (name, said) in T::table_mut(self).tick(now) {
            events.push(Event::ExceptionOver { name, ran_out: true });
            events.extend(said.over(self, now));
        }
        events
    }
}
