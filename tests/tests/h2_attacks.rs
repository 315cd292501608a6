//! Attacks over HTTP/2: each has its price in points, is stopped when they are used up, is booked, and harms nobody
//! else. What is within the budget is served.

#[path = "h2_attacks/attack.rs"]
mod attack;
#[path = "h2_attacks/budget.rs"]
mod budget;
#[path = "h2_attacks/clocks.rs"]
mod clocks;
#[path = "h2_attacks/memory.rs"]
mod memory;
#[path = "h2_attacks/neighbours.rs"]
mod neighbours;
