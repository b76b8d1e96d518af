package ingest

// maxDepth is how deeply arrays and objects of a body may lie in each other. The contract needs six levels. What is deeper
// would be handed on to the users' clients, whose JSON readers may not bear it.
const maxDepth = 64

// tooDeep says whether a JSON text goes deeper than that.
func tooDeep(text []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++ // what follows cannot end the string
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
