//! Config values for apps as they are kept.

use api::appconfig::{ConfigKept, ConfigWords};
use api::{Label, Namespace};

use crate::store::{By, Deed, Document, DocumentKey, DocumentKind};
use crate::writer::{NotKept, Writer, not_json};

impl Writer {
    /// Writes a config value, or takes it out.
    ///
    /// # Errors
    /// See [`NotKept`]; nothing changed then.
    pub(crate) async fn put_config(
        &self,
        namespace: Namespace,
        key: Label,
        words: Option<ConfigWords>,
        by: By,
    ) -> Result<ConfigKept, NotKept> {
        let writer = self.clone();
        self.in_turn(async move {
            let (space, name, said) = (namespace.clone(), key.clone(), words.clone());
            let check = move |desk: &mut crate::desk::Desk, _| match &said {
                Some(words) => desk.core.check_config(&space, &name, words),
                None => desk.core.config(&space, &name).map(|_| ()),
            };
            writer.desk.ask(check).await??;
            let body = words.as_ref().map(serde_json::to_string).transpose().map_err(|why| not_json(&why))?;
            let place =
                DocumentKey { kind: DocumentKind::Config, namespace: namespace.clone(), name: key.clone() };
            let deed = if body.is_some() { Deed::Put } else { Deed::Delete };
            let revision = writer.write(place, body, None, deed, by).await?;
            writer.desk.ask(move |desk, _| desk.put_config(namespace, key, words, revision)).await?;
            Ok(ConfigKept { revision })
        })
        .await
    }
}

/// A value that was kept.
pub(crate) fn kept(document: &Document) -> Option<(Namespace, Label, ConfigWords, u64)> {
    let words = serde_json::from_str(document.body.as_deref().unwrap_or_default()).ok()?;
    Some((document.key.namespace.clone(), document.key.name.clone(), words, document.revision))
}
