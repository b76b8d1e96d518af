//go:build !amd64

package dense

func or(to, a, b *Words)     { plainOr(to, a, b) }
func and(to, a, b *Words)    { plainAnd(to, a, b) }
func andNot(to, a, b *Words) { plainAndNot(to, a, b) }

func copyWords(to *[Bytes]byte, from *Words) (set, runs int) { return plainCopy(to, from) }
func arrayRuns(array []uint16) int                           { return plainRuns(array) }
func copyArray(to []byte, array []uint16)                    { plainArray(to, array) }
func list(to []byte, from *Words)                            { plainList(to, from) }
func add(to *Words, array []uint16)                          { plainAdd(to, array) }
