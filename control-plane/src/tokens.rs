//! Tokens as they are kept: the digest of each secret, never the secret.

use api::access::{TokenMade, TokenWords};
use api::{Label, Namespace};
use control_core::SecretDigest;
use serde::{Deserialize, Serialize};

use crate::clock::draw_id;
use crate::store::{By, Deed, Document, DocumentKey, DocumentKind, StoreError};
use crate::writer::{NotKept, Writer, not_json};

/// A token as the store holds it.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    words: TokenWords,
    secret: SecretDigest,
}

/// The digest that `secret` is known by.
pub(crate) fn digest(secret: &[u8]) -> SecretDigest {
    SecretDigest(blake3::hash(secret).to_hex().to_string())
}

/// A token that was kept.
pub(crate) fn kept(document: &Document) -> Option<(TokenWords, SecretDigest)> {
    let stored: Stored = serde_json::from_str(document.body.as_deref().unwrap_or_default()).ok()?;
    Some((stored.words, stored.secret))
}

impl Writer {
    /// Makes a token.
    ///
    /// # Errors
    /// See [`NotKept`].
    pub(crate) async fn make_token(&self, words: TokenWords, by: By) -> Result<TokenMade, NotKept> {
        let writer = self.clone();
        self.in_turn(async move {
            let asked = words.clone();
            writer.desk.ask(move |desk, _| desk.core.check_token(&asked)).await??;
            let no_dice =
                |why: std::io::Error| StoreError::Engine { deed: "draw a secret", why: why.to_string() };
            let secret = format!("{}{}", draw_id().map_err(no_dice)?, draw_id().map_err(no_dice)?);
            let stored = Stored { words: words.clone(), secret: digest(secret.as_bytes()) };
            let body = serde_json::to_string(&stored).map_err(|why| not_json(&why))?;
            writer.write(key(words.name.clone()), Some(body), None, Deed::Put, by).await?;
            let made = TokenMade { words, secret };
            writer.desk.ask(move |desk, _| desk.core.put_token(stored.words, stored.secret)).await?;
            Ok(made)
        })
        .await
    }

    /// Takes a token back.
    ///
    /// # Errors
    /// See [`NotKept`].
    pub(crate) async fn remove_token(&self, name: Label, by: By) -> Result<(), NotKept> {
        let writer = self.clone();
        self.in_turn(async move {
            let asked = name.clone();
            writer.desk.ask(move |desk, _| desk.core.check_token_removal(&asked)).await??;
            writer.write(key(name.clone()), None, None, Deed::Delete, by).await?;
            writer.desk.ask(move |desk, _| desk.core.remove_token(&name)).await?;
            Ok(())
        })
        .await
    }
}

/// Tokens are of no namespace; the store wants one.
fn key(name: Label) -> DocumentKey {
    DocumentKey { kind: DocumentKind::Token, namespace: Namespace::default(), name }
}
