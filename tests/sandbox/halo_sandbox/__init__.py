# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A multi-tenant look-alike of the Halo REST API on aiohttp and SQLite.

Modules, each using only those above it:

* ``answers``   what goes back over the wire, and the error bodies that Halo is known to use
* ``fields``    names and types of the properties that Halo's objects have
* ``seed``      what a new tenant holds
* ``store``     SQLite: rows, counters, hashed secrets, hashed tokens
* ``settings``, ``faults``, ``log``   what a test can change and see
* ``tenant``    the rules of Halo for one tenant
* ``auth``, ``api``   the endpoints
* ``control``   the endpoints below ``/_sandbox/``
* ``app``       from a request to its answer
* ``tls``       the certificate
* ``testing``   starts all this in a process of its own
"""
