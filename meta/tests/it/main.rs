//! Tests of the rules: tables of clusters and answers, and simulated clusters that fail.

#[cfg(test)]
mod operators;
#[cfg(test)]
mod settle;

#[cfg(test)]
mod support;
#[cfg(test)]
mod tables;
