// Package compare measures the data path of Weft beside other proxies: what a request costs them in CPU time, what they take in
// memory, and how long answers take, all proxies on one core, client and app on another. It starts every process that it
// measures, and ends them. docs/performance.md has the method.
package compare
