// Package lab is what trials break and only a machine has: a network, a disk, and a clock.
//
//   - Enter runs a program in namespaces of its own, so that nothing of this is seen outside and nothing is left of it.
//   - A Network is hosts whose packets all pass through this process: each direction between two of them can be cut or
//     delayed. Cut packets vanish, as in a network that is broken: nobody is told.
//   - A Disk is a directory whose files can be made slow to write, or have no room any more.
//   - A Clock is a copy of the standard library in which a process can be told to be early or late. A program cannot be
//     lied to from outside: it reads its clock from memory that the kernel shares with it.
package lab
