package tests

// pending are the examples that wait for run steps and Nix databases.
var pending = []string{
	"nginx", "nginxStream", "redis", "nix", "nixLayered", "nix-layered", "runAsRootExtraCommands", "runAsRootParentImage",
	"layered-image", "layered-on-top", "layered-on-top-layered", "layersOrder", "layersUnpackOrder", "no-store-paths",
	"filesInStore", "layeredImageWithFakeRootCommands", "mergedBashAndRedis", "mergedBashNoTagAndRedis",
	"mergedBashFakeRoot", "mergeVaryingCompressor", "helloOnRootNoStoreFakechroot", "imageViaFakeChroot", "etc",
}
