//! The words of a choice and of what followed it: in records, in `explain`, in counters.

use api::choice::choice;

choice! {
    /// Why an endpoint was or was not taken.
    #[derive(Default, PartialOrd, Ord)]
    pub enum Why {
        /// It was taken.
        Chosen = "chosen",
        /// As good as the one taken; the dice took the other.
        #[default]
        NotDrawn = "not-drawn",
        /// It would have cost more.
        HigherCost = "higher-cost",
        /// This request was there already.
        AlreadyTried = "already-tried",
        /// Traffic found it ill.
        Ejected = "ejected",
        /// It fails more than its peers, and this request was not of the part that it still gets.
        Failing = "failing",
        /// It failed several times in a row: it is asked again once the others' answers have told how they do.
        Suspected = "suspected",
        /// As many requests are in flight to it as may be.
        Full = "full",
        /// As many requests are in flight to endpoints with its label as may be.
        BulkheadFull = "bulkhead-full",
        /// It was asked as often as may be.
        Limited = "limited",
        /// Its breaker is open.
        BreakerOpen = "breaker-open",
        /// It leaves.
        Draining = "draining",
        /// Its own check fails.
        Unready = "unready",
        /// Its health check fails.
        CheckFails = "check-fails",
        /// It takes its share slowly, and this request was not part of it.
        Ramping = "ramping",
        /// Its weight is zero.
        WeightZero = "weight-zero",
        /// Its load is above the bound for hosts that keys lead to.
        OverBound = "over-bound",
        /// More is in flight to it than to most.
        Hot = "hot",
        /// It ramps or fails, and this key is of the part that passes it by.
        PassedBy = "passed-by",
    }
}

choice! {
    /// How the endpoint that was taken came to be taken.
    #[derive(Default, PartialOrd, Ord)]
    pub enum How {
        /// By cost: a dearer one hardly ever.
        #[default]
        Drawn = "drawn",
        /// By weight alone.
        Weighted = "weighted",
        /// As the least of those looked at.
        Least = "least",
        /// In its turn.
        Turn = "turn",
        /// Where its key leads.
        Hashed = "hashed",
        /// Where its key leads next: the first one could not take it.
        Moved = "moved",
        /// By its load report.
        Reported = "reported",
        /// As the share of one that ramps.
        Ramp = "ramp",
        /// As its trial request.
        Trial = "trial",
        /// Although it is ill, unready or draining: nobody better was left.
        Forced = "forced",
        /// As a second attempt beside one that was late.
        Beside = "beside",
    }
}

choice! {
    /// What was decided after an attempt.
    #[derive(Default, PartialOrd, Ord)]
    pub enum Then {
        /// Its verdict never fell: the request was dropped.
        #[default]
        Dropped = "dropped",
        /// Its answer went to the caller.
        Answered = "answered",
        /// Tried again, on the load budget.
        Again = "again",
        /// Tried again, provably free.
        AgainFree = "again-free",
        /// Not tried again: it might run twice.
        NotSafe = "not-safe",
        /// Not tried again: the request's body is not in hand any more.
        BodyGone = "body-gone",
        /// Not tried again: it had all the attempts the policy allows.
        NoAttemptLeft = "no-attempt-left",
        /// Not tried again: the load budget is spent.
        NoBudget = "no-budget",
        /// Not tried again: the service's guard lets no load be added.
        Guarded = "guarded",
        /// Not tried again: no time is left, or less than the service asked to be left alone for.
        NoTime = "no-time",
        /// Not tried again: the service asked not to be.
        PushedBack = "pushed-back",
        /// It failed while another attempt ran beside it, which was waited for.
        Beside = "beside",
        /// The attempt beside it answered first.
        Overtaken = "overtaken",
    }
}
