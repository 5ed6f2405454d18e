//! U1 to U4, at random.
