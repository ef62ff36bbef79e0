package spec

// Choices returns the words that a field of the spec can have, in the order in which
// messages list them: for fields of a few fixed words, nil for all others. presets lists
// the names that Preset.Name can have.
func Choices(field string) []string {
	switch field {
	case "inherit":
		return texts(InheritAll, InheritEnv)
	case "layering":
		return texts(Popularity, Auto, Single)
	case "closureRoots":
		return texts(RootsContents, RootsImage)
	case "conflicts":
		return texts(ConflictsError, ConflictsFirst, ConflictsLast)
	case "isolation":
		return texts(UserNS, VM)
	case "network":
		return texts(NetworkNone, NetworkHost)
	case "presets":
		return PresetNames()
	case "architecture":
		return Architectures()
	case "os":
		return []string{"linux"}
	}
	return nil
}

func texts[T ~string](words ...T) []string {
	all := make([]string, len(words))
	for i, word := range words {
		all[i] = string(word)
	}
	return all
}
