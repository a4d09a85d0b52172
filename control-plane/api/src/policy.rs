//! What an operator writes: policies, their scopes, and how they merge.
//!
//! A document says something about a namespace, a service, a route or a caller. For one request the layers
//! merge leaf by leaf: default < namespace < service < route < caller; lists replace.

mod bulkhead;
mod cap;
mod cost;
mod document;
mod key;
mod limit;
mod matching;
mod set;
mod settings;
mod shadow;
mod subset;

pub use bulkhead::{Bulkhead, BulkheadKey};
pub use cap::Cap;
pub use cost::Cost;
pub use document::{Mode, Policy, PolicyWords, Route, Target};
pub use key::HashKey;
pub use limit::{Limit, LimitKey, LimitKind, LimitRule, LimitScope};
pub use matching::{CallerPattern, Matching, MethodName, PathPattern};
pub use set::{LeafOrigin, PolicySet, RouteSettings, ServiceSettings, Stop};
pub use settings::{
    Asking, Balance, BalanceWords, Breaker, BreakerWords, Choosing, Class, Concurrency, ConcurrencyWords,
    Failing, Health, HealthCheck, HealthCheckWords, HealthWords, Hedge, HedgeWords, Hedging, Retry,
    RetryWords, Settings, SettingsWords, Strategy, StrategyKind, StrategyWords, Timeout, TimeoutWords, Zones,
};
pub use shadow::{ShadowEndpoints, ShadowRoute, ShadowSettings, Shadowed};
pub use subset::{LANE, Outside, Subset, SubsetValue};
