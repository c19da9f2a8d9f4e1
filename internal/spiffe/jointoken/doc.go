// Package jointoken is the text of a join token: what a workload without an identity is given so that it can ask for one. It
// holds where the control plane is, the hashes of the authorities that prove it to be the right one, and a secret that works
// once. So its holder trusts nothing on first use.
//
// The text is "weft1." and the base64url (no padding) of one JSON object. Decode accepts exactly what Encode writes, and says
// in words what is wrong with anything else. The package does no I/O, reads no clock, and never puts a secret in an error.
package jointoken
