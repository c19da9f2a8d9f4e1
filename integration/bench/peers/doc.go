// Package peers starts what is compared: a pair of each proxy (client -> outbound -> mTLS -> inbound -> app), or one alone without
// TLS, set up to do as little beside it as they can. The peers' settings are in conf/. Weft alone has its real work on: it takes
// its tables from a control plane, authorizes every request, balances, counts, and samples its access log.
package peers
