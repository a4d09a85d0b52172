//! Commands as they are kept: durable before anybody hears of one, and told again after a restart for what is
//! left of their time.

use std::time::Duration;

use api::command::{CommandState, CommandView, CommandWords};
use api::{InstanceKey, Label, Namespace, Problem};
use control_core::KeptCommand;
use serde::{Deserialize, Serialize};

use crate::clock::wall_millis;
use crate::store::{By, Deed, Document, DocumentKey, DocumentKind};
use crate::writer::{NotKept, Writer, not_json};

/// A command as the store holds it.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    words: CommandWords,
    instances: Vec<InstanceKey>,
    author: String,
    /// When it is over, in milliseconds since 1970.
    until: u64,
    state: CommandState,
}

impl Writer {
    /// Gives a command.
    ///
    /// # Errors
    /// See [`NotKept`]; nobody hears of it then.
    pub(crate) async fn order(
        &self,
        namespace: Namespace,
        words: CommandWords,
        by: By,
    ) -> Result<CommandView, NotKept> {
        let writer = self.clone();
        self.in_turn(async move {
            let (space, said) = (namespace.clone(), words.clone());
            let instances =
                writer.desk.ask(move |desk, _| desk.core.assemble_command(&space, &said)).await??;
            // Writes take turns, so the next revision is this one's; the number is used once either way.
            let id = writer.stores.ask(|stores| stores.policies.head()).await? + 1;
            let (left, author) = (words.ttl.duration(), by.author.clone());
            let until = wall_millis() + words.ttl.as_millis();
            let state = CommandState::Active;
            let stored = Stored { words: words.clone(), instances: instances.clone(), author, until, state };
            writer.keep_command(&namespace, id, &stored, Deed::Command, by).await?;
            let command = KeptCommand { id, namespace, words, instances, author: stored.author, left };
            let views = writer.desk.ask(move |desk, now| desk.core.order(command, now)).await?;
            views
                .into_iter()
                .find(|view| view.id == id)
                .ok_or(NotKept::Refused(control_core::Refusal::NoSuchCommand))
        })
        .await
    }

    /// Takes a command back.
    ///
    /// # Errors
    /// See [`NotKept`].
    pub(crate) async fn revoke(&self, namespace: Namespace, id: u64, by: By) -> Result<CommandView, NotKept> {
        let writer = self.clone();
        self.in_turn(async move {
            let key = key(&namespace, id)?;
            let history = writer.history(key).await?;
            let last = history.into_iter().next_back().and_then(|revision| revision.body);
            let gone = || NotKept::Refused(control_core::Refusal::NoSuchCommand);
            let body = last.ok_or_else(gone)?;
            let mut stored: Stored = serde_json::from_str(&body).map_err(|why| not_json(&why))?;
            stored.state = CommandState::Revoked;
            // Whoever still obeys it is told first: that is the safe order of the two.
            let space = namespace.clone();
            let revoke = move |desk: &mut crate::desk::Desk, now| {
                desk.core.revoke_command(&space, id, now)?;
                desk.core.commands(&space, now)
            };
            let views = writer.desk.ask(revoke).await??;
            writer.keep_command(&namespace, id, &stored, Deed::Revoke, by).await?;
            views.into_iter().find(|view| view.id == id).ok_or_else(gone)
        })
        .await
    }

    async fn keep_command(
        &self,
        namespace: &Namespace,
        id: u64,
        stored: &Stored,
        deed: Deed,
        by: By,
    ) -> Result<(), NotKept> {
        let body = serde_json::to_string(stored).map_err(|why| not_json(&why))?;
        self.write(key(namespace, id)?, Some(body), None, deed, by).await?;
        Ok(())
    }
}

/// What is left of a command that was kept; `None` when it is over.
pub(crate) fn left(document: &Document) -> Option<KeptCommand> {
    let Stored { words, instances, author, until, state } =
        serde_json::from_str(document.body.as_deref().unwrap_or_default()).ok()?;
    let left = until.checked_sub(wall_millis()).filter(|_| state == CommandState::Active)?;
    let id = document.key.name.as_str().parse().ok()?;
    let (namespace, left) = (document.key.namespace.clone(), Duration::from_millis(left));
    Some(KeptCommand { id, namespace, words, instances, author, left })
}

fn key(namespace: &Namespace, id: u64) -> Result<DocumentKey, NotKept> {
    let name: Label = id.to_string().parse().map_err(|why: String| NotKept::Wrong(Problem::at("id", why)))?;
    Ok(DocumentKey { kind: DocumentKind::Command, namespace: namespace.clone(), name })
}
