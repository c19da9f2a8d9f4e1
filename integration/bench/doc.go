// Command weft-bench measures. Without -sim it is the data path: it starts real sidecars with a control plane, and other proxies,
// gives all the same loads in turn, and prints what a request costs each (package compare); docs/performance.md has the method.
//
// With -sim it is the control plane at scale: it starts a real one (etcd and a process for each service), runs many simulated
// sidecars against it (package sim), changes things, and prints who had which change when, and what it cost.
// docs/guides/scale.md says what the numbers mean.
//
//	weft-bench -bin bin -debian $(integration/tools/debian.sh) -envoy $(integration/tools/envoy.sh) -results integration/bench/results
//	weft-bench -sim 1000 -bin bin -results integration/bench/results
package main
