// Package telemetry is what happened: golden metrics of every edge of the mesh.
//
// It owns the counters that sidecars report, in memory only: a sidecar's counters are cumulative since it started, so a
// replica that dies takes nothing with it that the next report does not bring back. In come report streams; out go answers
// about windows of up to ten minutes, and Prometheus series. Any replica answers for the whole mesh: it asks its peers for
// what each knows of each run of each sidecar and takes the larger of each counter, so that a sidecar that moved counts once.
//
// One answer is made in three steps, each in a file of its own: a run's timeline gives counters at both ends of a window
// (run.go), what several replicas know is merged (merge.go), and edges become rows (rows.go).
//
// It must never sit on a request's path, make a sidecar wait, or hold more than its configured number of sidecars and edges:
// what is beyond is refused and counted.
package telemetry
