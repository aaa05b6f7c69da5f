// Package mutant names deliberate mistakes, one for each rule that safety rests
// on. The simulator must find out every one of them; what it cannot find out, it
// does not guard. Nothing but tests sets one: the zero Mutant is the program.
package mutant

// Mutant names one mistake. The zero value is none.
type Mutant string

// None is the program as it is meant to be.
const None Mutant = ""
