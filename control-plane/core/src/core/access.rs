//! Tokens as the shell meets them.

use api::Label;
use api::access::TokenWords;

use super::ControlCore;
use crate::access::{Denied, Need, SecretDigest};
use crate::refusal::Refusal;

impl ControlCore {
    /// Whether who shows `secret` may do what needs `need`; says as whom, `None` while there are no tokens.
    ///
    /// # Errors
    /// See [`Denied`].
    pub fn allow(&self, secret: Option<&SecretDigest>, need: &Need) -> Result<Option<Label>, Denied> {
        self.access.ask(secret, need)
    }

    /// Whether such a token may be made.
    ///
    /// # Errors
    /// [`Refusal::Wrong`] with every problem.
    pub fn check_token(&self, words: &TokenWords) -> Result<(), Refusal> {
        self.loaded()?;
        self.access.check(words)
    }

    /// Whether the token `name` may be taken back.
    ///
    /// # Errors
    /// [`Refusal::NoSuchToken`], or [`Refusal::Wrong`] where it is the last administrator's.
    pub fn check_token_removal(&self, name: &Label) -> Result<(), Refusal> {
        self.loaded()?;
        self.access.check_removal(name)
    }

    /// A token is durable: it counts from now on.
    pub fn put_token(&mut self, words: TokenWords, secret: SecretDigest) {
        self.access.put(words, secret);
    }

    /// A token is gone.
    pub fn remove_token(&mut self, name: &Label) {
        self.access.remove(name);
    }

    /// Every token, without its secret.
    ///
    /// # Errors
    /// [`Refusal::NotLoaded`].
    pub fn tokens(&self) -> Result<Vec<TokenWords>, Refusal> {
        self.loaded()?;
        Ok(self.access.list())
    }
}
