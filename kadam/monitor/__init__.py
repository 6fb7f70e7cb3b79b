"""What is my optimizer doing? Updates measured in training, against what theory says of them.

=============  ==================================================================================================
module         what it holds
=============  ==================================================================================================
``reading``    what each optimizer keeps of a parameter, and how that makes an update
``rows``       sums over rows, block by block
``kernel``     these sums in one pass over memory, by numba
``packet``     what rows remember; all of a measurement as one array
``ruler``      the numbers that are shown, and theory's beside them
``diagnosis``  when an update is unusual, and why
``display``    a table, HTML, a picture
``watch``      the monitor
=============  ==================================================================================================
"""

from kadam.monitor.diagnosis import Event as Event
from kadam.monitor.watch import StabilityMonitor as StabilityMonitor
from kadam.monitor.watch import StabilityWarning as StabilityWarning

__all__ = ["Event", "StabilityMonitor", "StabilityWarning"]
