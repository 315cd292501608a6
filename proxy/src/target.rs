//! Targets: groups, balancing, health, outliers, limits.
