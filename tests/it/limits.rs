//! Bad input and too much of it: each gets its defined answer, costs bounded memory, and touches nobody else.

mod frames;
mod handshakes;
mod rates;
mod slow_readers;
