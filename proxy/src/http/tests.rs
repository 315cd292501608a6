//! Behaviour of the whole part: rules, splits, round trips.
