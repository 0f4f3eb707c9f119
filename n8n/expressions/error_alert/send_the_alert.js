(() => {
  // What failed, where and why, without anything of the request itself.
  const failure = $('When a workflow fails').first().json;
  return {
    workflow: String(failure.workflow?.name ?? 'unknown').slice(0, 200),
    node: String(failure.execution?.lastNodeExecuted ?? failure.trigger?.error?.node?.name ?? 'unknown').slice(0, 200),
    message: String(failure.execution?.error?.message ?? failure.trigger?.error?.message ?? 'unknown').slice(0, 500),
  };
})()
