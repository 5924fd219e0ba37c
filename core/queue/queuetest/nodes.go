package queuetest

// Nodes is a store that several nodes share.
type Nodes struct{}
