// Package etcdkv is a kv.Store in an etcd cluster: guarded writes are transactions, watches resume by revision, and held keys
// hang on leases. Package embedkv wraps it around an etcd in this process.
//
// It adds nothing of its own to the store but one key, /weft/epoch, which tells one store from the next. Where etcd has users,
// each service's user needs to read and write its own prefix and that key.
package etcdkv
