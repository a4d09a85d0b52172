//! One schema for what people write: the file, the request body, the reference page and the editor's
//! JSON Schema all come from the same declaration.
//!
//! serde's derive stops at the first mistake and forgets where it was. People's documents go another way:
//! any format becomes a [`Node`], and a [`Shape`] reads it, collecting every problem with its path.

mod entry;
mod leaf;
mod node;
mod page;
mod record;

pub use entry::entry;
pub use leaf::Switch;
pub(crate) use leaf::{by_text, choice_shape, text_shape};
pub use node::{Fields, Kind, Node, Problems, join};
pub use page::{json_schema, markdown};
pub use record::{Leaf, Words, settings};

use serde_json::Value;

/// What a document may say at one place.
#[derive(Clone, Debug)]
pub enum Schema {
    /// One word or number; says what it is and gives examples.
    Scalar {
        /// The JSON Schema type: `string`, `integer`, `number` or `boolean`.
        kind: &'static str,
        /// What it is, for people.
        what: &'static str,
    },
    /// One word of a closed set.
    Choice(Vec<&'static str>),
    /// Any number of one thing.
    List(Box<Schema>),
    /// Names, each with one thing.
    Map(Box<Schema>),
    /// Named fields.
    Record(Vec<Field>),
    /// One of two: a word, or more words about the same.
    Either(Box<Schema>, Box<Schema>),
}

/// A field of a [`Schema::Record`].
#[derive(Clone, Debug)]
pub struct Field {
    /// The key as written.
    pub name: &'static str,
    /// What it means.
    pub doc: String,
    /// The default as it would be written; `None` where leaving it out is an error or means "nothing".
    pub default: Option<Value>,
    /// Why the default has that value.
    pub why: &'static str,
    /// What may stand there.
    pub schema: Schema,
}

impl Field {
    /// A field of a record that is written by hand; its default needs no reason of its own.
    pub fn new(name: &'static str, doc: &str, schema: Schema, default: Option<Value>) -> Self {
        Self { name, doc: doc.into(), default, why: "", schema }
    }
}

/// Something people write.
pub trait Shape: Sized {
    /// What may be written.
    fn schema() -> Schema;

    /// Reads `node`, which stands at `path`. Returns `None` after telling `problems` why.
    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self>;

    /// The same thing as JSON; [`Shape::read`] of it gives an equal value.
    fn write(&self) -> Value;
}
