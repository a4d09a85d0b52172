//! Records with defaults that merge leaf by leaf.
//!
//! [`settings!`](crate::schema::settings) declares a record once: each field with its type, its default,
//! its meaning and the reason for its default. It writes two types: the *words* (what somebody wrote, each
//! leaf perhaps missing) and the *settled* record that the code runs on, which cannot be half-filled.

use serde_json::{Map, Value};

use super::{Field, Fields, Problems, Shape};

/// One leaf somebody wrote: its path and its value as JSON.
pub type Leaf = (String, Value);

/// What somebody wrote of a record.
pub trait Words: Shape + Clone + Default + PartialEq {
    /// What the code runs on.
    type Settled;

    /// These fields for a [`Schema::Record`](super::Schema::Record).
    fn fields() -> Vec<Field>;

    /// Takes these fields out of `from`.
    fn take(from: &mut Fields<'_>, problems: &mut Problems) -> Self;

    /// Writes these fields into `into`, missing ones left out.
    fn put(&self, into: &mut Map<String, Value>);

    /// These words over wider ones: a leaf written here wins, lists replace.
    #[must_use]
    fn over(self, wider: &Self) -> Self;

    /// Every leaf written, under `path`.
    fn leaves(&self, path: &str, into: &mut Vec<Leaf>);

    /// With every missing leaf at its default.
    fn settle(&self) -> Self::Settled;

    /// What somebody would have written for all of `settled`.
    fn of(settled: &Self::Settled) -> Self;
}

/// Declares a record of settings; see the module's text.
///
/// `leaf` fields carry a default and its reason, `part` fields nest another record, `flat` fields lay
/// another record's fields at the same level.
#[macro_export]
#[doc(hidden)]
macro_rules! __settings {
    ($(#[doc = $doc:literal])+ pub struct $Settled:ident, $Words:ident {
        $($(#[doc = $fdoc:literal])+ $how:ident $field:ident $(as $key:literal)?: $Type:ty
            $(, words $Sub:ident)? $(= $default:expr, because $why:literal)?;)*
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Settled {
            $($(#[doc = $fdoc])+ pub $field: $Type,)*
        }

        #[doc = concat!("What somebody wrote of a [`", stringify!($Settled), "`].")]
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $Words {
            $($(#[doc = $fdoc])+ pub $field: $crate::__settings!(@type $how, $Type $(, $Sub)?),)*
        }

        impl Default for $Settled {
            fn default() -> Self {
                $crate::schema::Words::settle(&$Words::default())
            }
        }

        impl $crate::schema::Words for $Words {
            type Settled = $Settled;

            #[allow(clippy::vec_init_then_push, reason = "some fields push one row, others lay out many")]
            fn fields() -> Vec<$crate::schema::Field> {
                let mut fields = Vec::new();
                $($crate::__settings!(@field fields, $how, [$($fdoc)+], stringify!($field) $(, key $key)?,
                    $Type $(, words $Sub)? $(= $default, because $why)?);)*
                fields
            }

            fn take(from: &mut $crate::schema::Fields<'_>, problems: &mut $crate::schema::Problems) -> Self {
                Self { $($field: $crate::__settings!(@take from, problems, $how, stringify!($field) $(, key $key)?),)* }
            }

            fn put(&self, into: &mut serde_json::Map<String, serde_json::Value>) {
                $($crate::__settings!(@put self.$field, into, $how, stringify!($field) $(, key $key)?);)*
            }

            fn over(self, wider: &Self) -> Self {
                Self { $($field: $crate::__settings!(@over self.$field, wider.$field, $how),)* }
            }

            fn leaves(&self, path: &str, into: &mut Vec<$crate::schema::Leaf>) {
                $($crate::__settings!(@leaves self.$field, path, into, $how, stringify!($field) $(, key $key)?);)*
            }

            fn settle(&self) -> $Settled {
                $Settled { $($field: $crate::__settings!(@settle self.$field, $how $(, $default)?),)* }
            }

            fn of(settled: &$Settled) -> Self {
                Self { $($field: $crate::__settings!(@of settled.$field, $how),)* }
            }
        }

        impl $crate::schema::Shape for $Words {
            fn schema() -> $crate::schema::Schema {
                $crate::schema::Schema::Record(<Self as $crate::schema::Words>::fields())
            }

            fn read(
                node: &$crate::schema::Node, path: &str, problems: &mut $crate::schema::Problems,
            ) -> Option<Self> {
                let mut fields = $crate::schema::Fields::of(node, path, problems)?;
                let words = <Self as $crate::schema::Words>::take(&mut fields, problems);
                fields.finish(problems);
                Some(words)
            }

            fn write(&self) -> serde_json::Value {
                let mut map = serde_json::Map::new();
                $crate::schema::Words::put(self, &mut map);
                serde_json::Value::Object(map)
            }
        }
    };

    (@type leaf, $Type:ty) => { Option<$Type> };
    (@type part, $Type:ty, $Sub:ident) => { $Sub };
    (@type flat, $Type:ty, $Sub:ident) => { $Sub };

    (@key $name:expr, key $key:literal) => { $key };
    (@key $name:expr) => { $name };

    (@field $into:ident, leaf, [$($doc:literal)+], $name:expr $(, key $key:literal)?, $Type:ty = $default:expr, because $why:literal) => {
        $into.push($crate::schema::Field {
            name: $crate::__settings!(@key $name $(, key $key)?),
            doc: concat!($($doc),+).trim().to_owned(),
            default: Some(<$Type as $crate::schema::Shape>::write(&$default)),
            why: $why,
            schema: <$Type as $crate::schema::Shape>::schema(),
        })
    };
    (@field $into:ident, part, [$($doc:literal)+], $name:expr $(, key $key:literal)?, $Type:ty, words $Sub:ident) => {
        $into.push($crate::schema::Field {
            name: $crate::__settings!(@key $name $(, key $key)?),
            doc: concat!($($doc),+).trim().to_owned(),
            default: None,
            why: "",
            schema: <$Sub as $crate::schema::Shape>::schema(),
        })
    };
    (@field $into:ident, flat, [$($doc:literal)+], $name:expr, $Type:ty, words $Sub:ident) => {
        $into.extend(<$Sub as $crate::schema::Words>::fields())
    };

    (@take $from:ident, $problems:ident, leaf, $name:expr $(, key $key:literal)?) => {
        $from.take($crate::__settings!(@key $name $(, key $key)?))
            .and_then(|(node, path)| $crate::schema::Shape::read(node, &path, $problems))
    };
    (@take $from:ident, $problems:ident, part, $name:expr $(, key $key:literal)?) => {
        $from.take($crate::__settings!(@key $name $(, key $key)?))
            .and_then(|(node, path)| $crate::schema::Shape::read(node, &path, $problems))
            .unwrap_or_default()
    };
    (@take $from:ident, $problems:ident, flat, $name:expr) => {
        $crate::schema::Words::take($from, $problems)
    };

    (@put $value:expr, $into:ident, leaf, $name:expr $(, key $key:literal)?) => {
        if let Some(value) = &$value {
            $into.insert($crate::__settings!(@key $name $(, key $key)?).to_owned(), $crate::schema::Shape::write(value));
        }
    };
    (@put $value:expr, $into:ident, part, $name:expr $(, key $key:literal)?) => {
        if $value != Default::default() {
            $into.insert($crate::__settings!(@key $name $(, key $key)?).to_owned(), $crate::schema::Shape::write(&$value));
        }
    };
    (@put $value:expr, $into:ident, flat, $name:expr) => {
        $crate::schema::Words::put(&$value, $into)
    };

    (@over $value:expr, $wider:expr, leaf) => { $value.or_else(|| $wider.clone()) };
    (@over $value:expr, $wider:expr, $how:ident) => { $crate::schema::Words::over($value, &$wider) };

    (@leaves $value:expr, $path:ident, $into:ident, leaf, $name:expr $(, key $key:literal)?) => {
        if let Some(value) = &$value {
            let key = $crate::__settings!(@key $name $(, key $key)?);
            $into.push(($crate::schema::join($path, key), $crate::schema::Shape::write(value)));
        }
    };
    (@leaves $value:expr, $path:ident, $into:ident, part, $name:expr $(, key $key:literal)?) => {{
        let key = $crate::__settings!(@key $name $(, key $key)?);
        $crate::schema::Words::leaves(&$value, &$crate::schema::join($path, key), $into);
    }};
    (@leaves $value:expr, $path:ident, $into:ident, flat, $name:expr) => {
        $crate::schema::Words::leaves(&$value, $path, $into)
    };

    (@settle $value:expr, leaf, $default:expr) => { $value.clone().unwrap_or_else(|| $default) };
    (@settle $value:expr, $how:ident) => { $crate::schema::Words::settle(&$value) };

    (@of $value:expr, leaf) => { Some($value.clone()) };
    (@of $value:expr, $how:ident) => { $crate::schema::Words::of(&$value) };
}

pub use crate::__settings as settings;
