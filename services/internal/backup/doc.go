// Package backup turns the state of a mesh into one file and back: what is in the store, the authority's key and certificate,
// the bundle, and the first administrator's token. The file is a compressed tar archive, so that people can look into it with
// the tools that they have; with a passphrase it is encrypted by age.
//
// In goes a store or a data directory, out comes an Archive, which Encode and Decode turn into bytes and back. Decode takes
// nothing that is not whole: every part is checked against the manifest's checksums before anybody acts on it.
//
// The package decides nothing about where things are restored and who may: that is the command's business.
package backup
