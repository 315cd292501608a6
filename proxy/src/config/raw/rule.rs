//! What all rules share, whatever they do: one macro writes a rule's table, so that the keys are the same in each.

use crate::config::At;
use crate::config::value::{Expression, Matching, OnError, RuleMode};

/// The keys that all rules share, as one rule has them.
#[derive(Clone, Copy, Debug)]
pub struct RuleKeys<'a> {
    /// Unique in its table.
    pub name: &'a str,
    /// Lower ones are asked first.
    pub priority: i32,
    /// Whether it takes part.
    pub enabled: bool,
    /// What it asks in the match language.
    pub matching: Option<&'a Matching>,
    /// What it asks in CEL.
    pub when: Option<&'a Expression>,
    /// Whether it acts.
    pub mode: RuleMode,
    /// What it does if its expression fails.
    pub on_error: OnError,
    /// Where it stands.
    pub at: &'a At,
}

/// A [`config_table!`](crate::config::table::config_table) with the keys of all rules before its own; `rule()` gives
/// them.
macro_rules! rule_table {
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident: $title:literal $(, checked by $check:path)? { $($rows:tt)* }
    ) => {
        $crate::config::table::config_table! {
            $(#[doc = $about])+
            pub struct $name: $title, by "name" $(, checked by $check)? {
                /// Its name, unique among its kind.
                name: $crate::config::text::Name;
                /// Lower ones are asked first; equal ones in the document's order.
                priority: i32 = 100;
                /// Whether it takes part.
                enabled: bool = true;
                /// What it asks of a request, in the match language; beside `when`, both must hold.
                matching as "match": $crate::config::format::Maybe<$crate::config::value::Matching>;
                /// What it asks of a request, in CEL; with neither, every request matches.
                when: $crate::config::format::Maybe<$crate::config::value::Expression>;
                /// Whether it acts, or is only recorded.
                mode: $crate::config::value::RuleMode = "enforce";
                /// What it does if `when` fails for a request.
                on_error: $crate::config::value::OnError = "skip";
                $($rows)*
            }
        }

        impl $name {
            /// The keys that all rules share.
            pub fn rule(&self) -> $crate::config::raw::RuleKeys<'_> {
                $crate::config::raw::RuleKeys {
                    name: &self.name,
                    priority: self.priority,
                    enabled: self.enabled,
                    matching: self.matching.as_ref(),
                    when: self.when.as_ref(),
                    mode: self.mode,
                    on_error: self.on_error,
                    at: &self.at,
                }
            }
        }
    };
}

pub(super) use rule_table;
