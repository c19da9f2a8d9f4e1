// Command weft-bench measures the control plane at scale: it starts a real one (etcd and a process for each service), runs
// many simulated sidecars against it (package sim), changes things, and prints who had which change when, and what it cost.
// docs/guides/scale.md says what the numbers mean.
//
//	weft-bench -sim 1000 -bin bin -results integration/bench/results
package main
