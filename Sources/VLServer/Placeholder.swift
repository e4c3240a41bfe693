#if Network
import Hummingbird
#endif
