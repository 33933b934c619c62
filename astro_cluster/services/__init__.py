"""Services of others, asked politely and never trusted.

One asker (`astro_cluster.services.http`) sends all requests: one at a time for each host, with
new tries, limits of size and time, and http and https only.  On it stand a TAP client
(`astro_cluster.services.tap`), the reading of answers and their keeping on disk.  What an answer
holds is data: nothing of it is evaluated, unpickled, fetched or used as a path.

The modules load requests, and are loaded when a service is asked.
"""
