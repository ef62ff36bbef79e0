package spec

// Choices returns the words that a field of the spec can have, in the order in which messages
// list them, and nil for fields that are not limited to a few words. For presets it returns the
// names that Preset.Name can have.
func Choices(field string) []string {
	switch field {
	case "inherit":
		return words(InheritAll, InheritEnv)
	case "layering":
		return words(Popularity, Auto, Stable, Single)
	case "closureRoots":
		return words(RootsContents, RootsImage)
	case "conflicts":
		return words(ConflictsError, ConflictsFirst, ConflictsLast)
	case "isolation":
		return words(UserNS, VM)
	case "network":
		return words(NetworkNone, NetworkHost)
	case "presets":
		return PresetNames()
	case "architecture":
		return Architectures()
	case "os":
		return []string{"linux"}
	}
	return nil
}

func words[T ~string](list ...T) []string {
	all := make([]string, len(list))
	for i, word := range list {
		all[i] = string(word)
	}
	return all
}
