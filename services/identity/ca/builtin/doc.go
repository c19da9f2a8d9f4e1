// Package builtin is the embedded certificate authority: a self-made P-256 root whose key lies in this replica's data
// directory (ca/root.key, 0600; the certificate in ca/root.pem). Each replica has its own, and no key ever leaves its
// directory; what the replicas share is certificates, and that is identity's business.
//
// In goes the directory, out comes a ca.Authority. A root that is close to its end is replaced when the authority is opened;
// files that are damaged, foreign or readable by others are an error and are left as they are.
package builtin
