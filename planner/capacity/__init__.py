"""The figures of a capacity report: where the bytes go, what they buy, and what else would fit.

    accounts     every byte by owner and kind
    duplicates   what sharing weights by content saves, and could save
    levers       what sets the height, what shrinking or moving each instance frees
    growth       how many channels fit in memory
    by_rate      how many channels the declared rates allow
    what_if      what other numbers of channels would need
    devices      which devices of a catalogue fit
    feeds        what handing tensors on takes in memory

Values in, values out; how they are shown is `report`'s matter.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from planner.capacity.accounts import Account, Kind, Share, account_bytes, bytes_by_kind, shares
from planner.capacity.by_rate import RateChannels, rate_channels
from planner.capacity.devices import DeviceFit, DeviceModel, devices_fit
from planner.capacity.duplicates import DedupeSavings, Duplicate, dedupe_savings
from planner.capacity.growth import (
    ChannelsFit,
    GrowthOptions,
    GrowthStatus,
    channels_fit,
    channels_of,
    together_fit,
    with_channels,
)
from planner.capacity.levers import Lever, LeverOptions, levers
from planner.capacity.what_if import WhatIf, WhatIfOptions, what_if
from planner.plan import Plan
from planner.strategies import Strategy, strategies

__all__ = [
    "Account",
    "Capacity",
    "ChannelsFit",
    "DedupeSavings",
    "DeviceFit",
    "DeviceModel",
    "Duplicate",
    "GrowthOptions",
    "GrowthStatus",
    "Kind",
    "Lever",
    "LeverOptions",
    "RateChannels",
    "Share",
    "WhatIf",
    "WhatIfOptions",
    "account_bytes",
    "bytes_by_kind",
    "capacity_of",
    "channels_fit",
    "channels_of",
    "dedupe_savings",
    "devices_fit",
    "levers",
    "rate_channels",
    "shares",
    "together_fit",
    "what_if",
    "with_channels",
]


_GROWTH: Final = GrowthOptions()
_LEVERS: Final = LeverOptions()


@dataclass(frozen=True, slots=True)
class Capacity:
    """Everything that a report says about a plan.

    Attributes
    ----------
    plan : Plan
    accounts : tuple of Account
        They sum to what the plan needs.
    shares : tuple of Share
    strategies : tuple of Strategy
    dedupe : DedupeSavings
    levers : tuple of Lever
    channels : tuple of ChannelsFit
        One a pipeline: how many fit in memory.
    together : ChannelsFit
        All pipelines in their proportion.
    devices : tuple of DeviceFit
        The smallest device first.
    rates : tuple of RateChannels
        One for each pipeline with a declared rate, where all times are known.
    """

    plan: Plan
    accounts: tuple[Account, ...]
    shares: tuple[Share, ...]
    strategies: tuple[Strategy, ...]
    dedupe: DedupeSavings
    levers: tuple[Lever, ...]
    channels: tuple[ChannelsFit, ...]
    together: ChannelsFit
    devices: tuple[DeviceFit, ...]
    rates: tuple[RateChannels, ...]

    def rate_of(self, pipeline: str) -> RateChannels | None:
        """Return what the rate of a pipeline allows; None where nothing is known of it."""
        return next((item for item in self.rates if item.pipeline == pipeline), None)

    @property
    def headroom_bytes(self) -> int | None:
        """What the limit leaves, bytes; negative: it is short by that; None without a limit."""
        limit = self.plan.fleet.device.memory_bytes
        return None if limit is None else limit - self.plan.needed_bytes


def capacity_of(
    plan: Plan,
    devices: Iterable[DeviceModel] = (),
    *,
    growth: GrowthOptions = _GROWTH,
    lever: LeverOptions = _LEVERS,
) -> Capacity:
    """Return all figures of a plan; variants of its fleet are planned again, within limits.

    Parameters
    ----------
    plan : Plan
    devices : iterable of DeviceModel
        Catalogue to compare with.
    growth, lever
        How much may be planned again.
    """
    channels = channels_fit(plan, growth)
    alone = len(channels) == 1
    return Capacity(
        plan=plan,
        accounts=account_bytes(plan),
        shares=shares(plan),
        strategies=strategies(plan),
        dedupe=dedupe_savings(plan),
        levers=levers(plan, lever),
        channels=channels,
        together=replace(channels[0], pipeline="") if alone else together_fit(plan, growth),
        devices=devices_fit(plan, devices),
        rates=rate_channels(plan),
    )
